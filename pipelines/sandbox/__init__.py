"""The vendors' APIs on localhost: for the demo, for tests, and to try a configuration without a key.

    with Sandbox(seed=7) as sandbox:
        os.environ.update(sandbox.variables())
        sandbox.faults.add(Fault(path="/v3/ocr-usage", status=503, times=2))

It listens on loopback only. The same seed gives the same usage in every process.
"""

from meterhouse.pipelines.sandbox.faults import Fault
from meterhouse.pipelines.sandbox.server import Sandbox, serve

__all__ = ["Fault", "Sandbox", "serve"]
