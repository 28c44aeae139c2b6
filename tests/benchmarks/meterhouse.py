"""`meterhouse` with pages of 1,000 events, which Scopix does not document and the workloads of many events use."""

from meterhouse.pipelines.cli import main
from meterhouse.sources.scopix import constants as settings
from tests.benchmarks.workloads import PAGE

settings.MAX_PAGE_SIZE = PAGE

if __name__ == "__main__":
    main()
