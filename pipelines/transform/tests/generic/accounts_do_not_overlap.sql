{#
    No two configured accounts report the same usage, which would be billed twice. `columns` identify usage, whichever account
    reports it, such as a workspace and a date.

    The test waits for the marts: it reports a failure beside the numbers, and does not keep them from being built.
#}
{% test accounts_do_not_overlap(model, columns) %}

-- depends_on: {{ ref('cost_monthly') }}
{{ reported_by_two_accounts(model, columns) }}

{% endtest %}
