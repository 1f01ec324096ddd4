"""The interop runner's parts: scenarios, brokers, clients, tutorials, report."""
