"""Pure functions that say what is accepted and how it is spelled. No database, store or HTTP."""
