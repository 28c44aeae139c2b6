-- One row per stub.
select * from {{ raw_table('billing', 'credit_grants') }}
