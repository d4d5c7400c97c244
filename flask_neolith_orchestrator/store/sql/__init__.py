"""How we speak with the database: transactions, prepared statements, and what each kind of engine needs."""
