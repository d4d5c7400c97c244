"""Foreign host apps, written from the README alone: they import nothing but the front door."""
