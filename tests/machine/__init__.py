"""A state machine that drives the whole system, with faults between, and looks after every step."""
