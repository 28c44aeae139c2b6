-- One row per date. MetricFlow joins metrics to it, so results include days without charges.

{{ calendar() }}
