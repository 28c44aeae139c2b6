"""What every provider needs and no provider owns: HTTP, budgets, windows, typed tables, accounts, replacement."""
