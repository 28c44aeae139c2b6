-- One row per date. MetricFlow joins metrics to it, so that a day without charges is in their answers, too.

{{ calendar() }}
