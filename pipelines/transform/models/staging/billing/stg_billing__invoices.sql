-- One row per stub.
select * from {{ raw_table('billing', 'invoices') }}
