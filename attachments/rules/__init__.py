"""Pure functions: what is accepted, and how it is spelled. No database, no store, no HTTP."""
