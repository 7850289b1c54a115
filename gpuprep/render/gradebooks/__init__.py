"""A graded class in the formats that gradebooks read: pure functions, a module a format, made of findings alone."""
