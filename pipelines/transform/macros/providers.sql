{#
    The providers, from the variable `providers`; dbt_project.yml explains the keys of an entry. A unit test of some
    providers only overrides `provider_names`.
#}
{% macro provider_names() %}
    {{- return(var('providers').keys() | list) -}}
{% endmacro %}


{# One setting of a provider, or the default if its entry has none. #}
{% macro provider_setting(provider, key, default=none) %}
    {{- return(var('providers')[provider].get(key, default)) -}}
{% endmacro %}


{# The names of the providers that have a setting. #}
{% macro providers_with(key) %}
    {%- set names = [] -%}
    {%- for provider in provider_names() if provider_setting(provider, key) -%}
        {%- do names.append(provider) -%}
    {%- endfor -%}
    {{- return(names) -}}
{% endmacro %}


{# A condition: the provider in a column has a setting. #}
{% macro provider_has(provider, key) -%}
    {%- set names = providers_with(key) -%}
    {%- if names -%} {{ provider }} in ('{{ names | join("', '") }}') {%- else -%} false {%- endif -%}
{%- endmacro %}


{# The raw tables that usage is read from, with the provider of each; the first of a provider is the one that is priced. #}
{% macro metered_tables() %}
    {%- set tables = [] -%}
    {%- for provider in provider_names() -%}
        {%- for table in provider_setting(provider, 'metered_tables') -%}
            {%- do tables.append(dict(table, provider=provider)) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{- return(tables) -}}
{% endmacro %}


{# The name of the raw table that a meter is read from. #}
{% macro metered_table(provider, meter) -%}
    case
        {%- for table in metered_tables() if table.meters %}
        when {{ provider }} = '{{ table.provider }}' and {{ meter }} in ('{{ table.meters | join("', '") }}')
            then '{{ table.table }}'
        {%- endfor %}
        {%- for table in metered_tables() if not table.meters %}
        when {{ provider }} = '{{ table.provider }}' then '{{ table.table }}'
        {%- endfor %}
    end
{%- endmacro %}


{#
    A condition: a fetched window is of a table that usage is read from, of one provider or of that in the column `provider`.
    It reads the columns `resource` and `part`.
#}
{% macro is_metered_window(of_provider=none) -%}
    (
        {%- for table in metered_tables() if of_provider in (none, table.provider) %}
        {{ 'or ' if not loop.first }}(
            {{- "provider = '" ~ table.provider ~ "' and " if of_provider is none -}}
            resource = '{{ table.table }}'
            {{- " and part like '" ~ table.partitions ~ "'" if table.partitions -}}
        )
        {%- endfor %}
    )
{%- endmacro %}


{# The raw tables that usage is priced from, with the provider of each. #}
{% macro priced_tables() %}
    {%- set tables = [] -%}
    {%- for provider in provider_names() -%}
        {%- do tables.append(dict(provider_setting(provider, 'metered_tables') | first, provider=provider)) -%}
    {%- endfor -%}
    {{- return(tables) -}}
{% endmacro %}


{# A condition: the raw table is the one that its provider's usage is priced from. #}
{% macro is_priced_table(provider, table) -%}
    {%- set conditions = [] -%}
    {%- for priced in priced_tables() -%}
        {%- do conditions.append(provider ~ " = '" ~ priced.provider ~ "' and " ~ table ~ " = '" ~ priced.table ~ "'") -%}
    {%- endfor -%}
    ({{ conditions | join(' or ') }})
{%- endmacro %}


{# A condition: the dimension holds all usage of its provider, and not only some meters. #}
{% macro is_complete_dimension(provider, dimension) -%}
    {%- set conditions = [] -%}
    {%- for name in providers_with('dimensions') -%}
        {%- set complete = [] -%}
        {%- for key, reach in provider_setting(name, 'dimensions').items() if reach == 'complete' -%}
            {%- do complete.append(key) -%}
        {%- endfor -%}
        {%- if complete -%}
            {%- do conditions.append(
                provider ~ " = '" ~ name ~ "' and " ~ dimension ~ " in ('" ~ complete | join("', '") ~ "')"
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    ({{ conditions | join(' or ') or 'false' }})
{%- endmacro %}


{# A condition: the meter is one of requests for which the vendor states no credits. #}
{% macro is_unrated_meter(provider, meter) -%}
    {%- set conditions = [] -%}
    {%- for name in providers_with('unrated_meter') -%}
        {%- do conditions.append(
            provider ~ " = '" ~ name ~ "' and " ~ meter ~ " = '" ~ provider_setting(name, 'unrated_meter') ~ "'"
        ) -%}
    {%- endfor -%}
    ({{ conditions | join(' or ') or 'false' }})
{%- endmacro %}
