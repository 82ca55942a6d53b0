"""A twin of the fleet: real decisions, a real store, a virtual clock and written faults."""
