-- One row per date. MetricFlow joins metrics to it, so that days without charges are in their results.

{{ calendar() }}
