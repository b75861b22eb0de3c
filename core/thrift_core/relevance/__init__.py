"""How well passages and their sentences answer a question, and which of them to keep within a budget; any script."""
