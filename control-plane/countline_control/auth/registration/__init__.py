"""How people get an account by themselves: with an invite, or where registration is open."""
