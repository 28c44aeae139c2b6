"""`meterhouse`, with the pages of 1,000 that Scopix does not document and the works of many events are defined by."""

from meterhouse.pipelines.cli import main
from meterhouse.sources.scopix import constants as settings
from tests.benchmarks.works import PAGE

settings.MAX_PAGE_SIZE = PAGE

if __name__ == "__main__":
    main()
