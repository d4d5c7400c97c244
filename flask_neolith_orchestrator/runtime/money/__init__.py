"""What may be spent: money of budgets, and messages in a while."""
