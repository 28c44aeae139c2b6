-- One row per provider, billing account, invoice and line. Temporary.
select provider, billing_account, invoice_id, line_number, charge_category, sku_id, description, quantity, unit, amount
from {{ raw_table('billing', 'invoice_lines') }}
