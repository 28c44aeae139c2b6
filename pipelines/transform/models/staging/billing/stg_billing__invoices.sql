-- One row per provider, billing account and invoice. Temporary.
select provider, billing_account, invoice_id, period_start, period_end, issued_on, status, currency, total
from {{ raw_table('billing', 'invoices') }}
