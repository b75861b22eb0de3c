"""Where what was cut is kept, how the model asks for it, and how much of it one conversation may see."""
