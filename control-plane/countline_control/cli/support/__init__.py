"""`countline support`: gathers what a person needs who looks for a fault, without secrets."""
