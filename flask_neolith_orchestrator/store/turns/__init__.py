"""A turn from its claim to its end, with what it leaves behind: steps, answers, sessions."""
