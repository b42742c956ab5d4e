"""For developers: the services of production as child processes, a server, a demo client."""
