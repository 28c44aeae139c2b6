{#
  On DuckDB and PostgreSQL, a table or view is replaced in one transaction, by fewer statements than dbt's own
  materializations run. On PostgreSQL, dbt's own would also drop the views that depend on a table, and its privileges.
  A project that installs these models as a package keeps dbt's own materializations: dbt lets no package replace them.
#}

{% materialization table, adapter="duckdb" %}
  {{ return(replace_relation("table")) }}
{% endmaterialization %}

{% materialization view, adapter="duckdb" %}
  {{ return(replace_relation("view")) }}
{% endmaterialization %}

{% materialization table, adapter="postgres" %}
  {{ return(replace_relation("table")) }}
{% endmaterialization %}

{% materialization view, adapter="postgres" %}
  {{ return(replace_relation("view")) }}
{% endmaterialization %}

{# Builds the model as a relation of this type, in one transaction; an existing relation of the other type is dropped first. #}
{% macro replace_relation(type) %}
  {%- set existing = load_cached_relation(this) -%}
  {%- set target = this.incorporate(type=type) -%}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks) }}
  {% if existing is not none and existing.type != type %}
    {% do adapter.drop_relation(existing) %}
    {% set existing = none %}
  {% endif %}
  {% call statement("main") %}
    {%- if type == "view" -%}
      {{ adapter.dispatch("replace_view", "meterhouse")(target, existing, compiled_code) }};
    {%- else -%}
      {{ adapter.dispatch("replace_table", "meterhouse")(target, existing, compiled_code) }};
    {%- endif %}
    {{ comment_statements(target, model) }}
  {% endcall %}
  {{ run_hooks(post_hooks) }}
  {% do adapter.commit() %}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({"relations": [target]}) }}
{% endmacro %}

{# The defaults are for DuckDB: dbt requires a default of each dispatched macro. #}
{% macro default__replace_view(relation, existing, query) -%}
  create or replace view {{ relation }} as ({{ query }})
{%- endmacro %}

{% macro default__replace_table(relation, existing, query) -%}
  {%- if config.get("contract").enforced -%}
    create or replace table {{ relation }} {{ get_table_columns_and_constraints() }};
    {{ insert_as_in_contract(relation, query) }}
  {%- else -%}
    create or replace table {{ relation }} as ({{ query }})
  {%- endif -%}
{%- endmacro %}

{# `create or replace view` cannot remove a column, and no mart depends on a view. #}
{% macro postgres__replace_view(relation, existing, query) -%}
  drop view if exists {{ relation }} cascade;
  create view {{ relation }} as ({{ query }})
{%- endmacro %}

{#
  The mart stays the same table, so it keeps its privileges and the views that depend on it. Until the commit, readers see
  the old rows.
#}
{% macro postgres__replace_table(relation, existing, query) -%}
  {%- if config.get("contract").enforced and existing is not none -%}
    lock table {{ relation }} in share row exclusive mode;  -- a build beside this one would add its rows to ours
    delete from {{ relation }};
    {%- for column in columns_that_differ(relation) %}
    {%- if column.exists %}
    alter table {{ relation }} drop column {{ adapter.quote(column.name) }};
    {%- endif %}
    {%- if column.definition %}
    alter table {{ relation }} add column {{ adapter.quote(column.name) }} {{ column.definition }};
    {%- endif %}
    {%- endfor %}
    {{ insert_as_in_contract(relation, query) }}
  {%- elif config.get("contract").enforced -%}
    create table {{ relation }} {{ get_table_columns_and_constraints() }};
    {{ insert_as_in_contract(relation, query) }}
  {%- else -%}
    drop table if exists {{ relation }} cascade;
    create table {{ relation }} as ({{ query }})
  {%- endif -%}
{%- endmacro %}

{# The statement that inserts the rows of the query, whose columns must be those of the contract, in any order. #}
{% macro insert_as_in_contract(relation, query) -%}
  {{ get_assert_columns_equivalent(query) }}
  insert into {{ relation }} ({{ adapter.dispatch("get_column_names", "dbt")() }}) ({{ get_select_subquery(query) }})
{%- endmacro %}

{#
  The columns in which an existing table differs from its contract, for example because another version of this project
  created it: `name`, `exists` (in the table) and `definition` (in the contract, or null). PostgreSQL compares the types. If a
  view reads a column that must be dropped, the build fails and names the view.
#}
{% macro columns_that_differ(relation) %}
  {% do run_query("create temporary table contract_columns " ~ get_table_columns_and_constraints() ~ " on commit drop") %}
  {%- set columns -%}
    select
      attname as name,
      format_type(atttypid, atttypmod) || case when attnotnull then ' not null' else '' end as definition
    from pg_attribute
    where attnum > 0 and not attisdropped and attrelid =
  {%- endset -%}
  {%- set compared -%}
    select name, present.name is not null as "exists", contract.definition
    from ({{ columns }} '{{ relation.include(database=false) }}'::regclass) as present
    full join ({{ columns }} 'pg_temp.contract_columns'::regclass) as contract using (name)
    where present.definition is distinct from contract.definition
  {%- endset -%}
  {%- set differing = run_query(compared).rows -%}
  {% do run_query("drop table contract_columns") %}
  {{ return(differing) }}
{% endmacro %}

{# The statements that write the descriptions of a relation and its columns, if its configuration persists them. #}
{% macro comment_statements(relation, model) -%}
  {%- set quoted = adapter.dispatch("quoted_comment", "meterhouse") -%}
  {%- if config.persist_relation_docs() and model.description -%}
    comment on {{ relation.type }} {{ relation }} is {{ quoted(model.description) }};
  {%- endif -%}
  {%- if config.persist_column_docs() -%}
    {%- for column in model.columns.values() %}
    comment on column {{ relation }}.{{ adapter.quote(column.name) if column.quote else column.name }}
      is {{ quoted(column.description) }};
    {%- endfor -%}
  {%- endif -%}
{%- endmacro %}

{% macro default__quoted_comment(text) %}{{ duckdb_escape_comment(text) }}{% endmacro %}

{% macro postgres__quoted_comment(text) %}{{ postgres_escape_comment(text) }}{% endmacro %}

{# Overrides the macro that dbt uses for seeds. It would query the existing columns twice before it writes comments. #}
{% macro duckdb__persist_docs(relation, model, for_relation, for_columns) %}
  {% set statements = comment_statements(relation, model) %}
  {% if statements %}{% do run_query(statements) %}{% endif %}
{% endmacro %}
