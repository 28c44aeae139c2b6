{#
  Tables and views are replaced by one statement on DuckDB. dbt-duckdb creates a second one, renames both and drops the old one.
  A project that installs these models as a package keeps dbt's own materializations: dbt lets no package replace them.
#}

{% materialization table, adapter="duckdb" %}
  {{ return(replace_relation("table")) }}
{% endmaterialization %}

{% materialization view, adapter="duckdb" %}
  {{ return(replace_relation("view")) }}
{% endmaterialization %}

{# Builds the model as a relation of this type, in one transaction; an existing relation of the other type is dropped first. #}
{% macro replace_relation(type) %}
  {%- set existing = load_cached_relation(this) -%}
  {%- set target = this.incorporate(type=type) -%}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks) }}
  {% if existing is not none and existing.type != type %}{% do adapter.drop_relation(existing) %}{% endif %}
  {% call statement("main") %}
    {%- if type == "view" -%}
      create or replace view {{ target }} as ({{ compiled_code }})
    {%- else -%}
      {{ replace_table(target, compiled_code) }}
    {%- endif -%}
    ;
    {{ comment_statements(target, model) }}
  {% endcall %}
  {{ run_hooks(post_hooks) }}
  {% do adapter.commit() %}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({"relations": [target]}) }}
{% endmacro %}

{# The statements that replace a table; with a contract, its columns must be those of the contract, in any order. #}
{% macro replace_table(relation, query) -%}
  {%- if config.get("contract").enforced -%}
    {{ get_assert_columns_equivalent(query) }}
    create or replace table {{ relation }} {{ get_table_columns_and_constraints() }};
    insert into {{ relation }} {{ get_column_names() }} ({{ get_select_subquery(query) }})
  {%- else -%}
    create or replace table {{ relation }} as ({{ query }})
  {%- endif -%}
{%- endmacro %}

{# The statements that write the descriptions of a relation and its columns, if its configuration persists them. #}
{% macro comment_statements(relation, model) -%}
  {%- if config.persist_relation_docs() and model.description -%}
    comment on {{ relation.type }} {{ relation }} is {{ duckdb_escape_comment(model.description) }};
  {%- endif -%}
  {%- if config.persist_column_docs() -%}
    {%- for column in model.columns.values() %}
    comment on column {{ relation }}.{{ adapter.quote(column.name) if column.quote else column.name }}
      is {{ duckdb_escape_comment(column.description) }};
    {%- endfor -%}
  {%- endif -%}
{%- endmacro %}

{# Overrides the macro that dbt uses for seeds. It would query the existing columns twice before it writes comments. #}
{% macro duckdb__persist_docs(relation, model, for_relation, for_columns) %}
  {% set statements = comment_statements(relation, model) %}
  {% if statements %}{% do run_query(statements) %}{% endif %}
{% endmacro %}
