"""What calls cost, for whom, and the limits that hold."""
