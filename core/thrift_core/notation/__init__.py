"""A compact notation of JSON and of runs of lines that a model reads well and that is read back exactly."""
