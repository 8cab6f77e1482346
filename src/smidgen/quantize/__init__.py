"""Float networks to integer graphs; `graph` says what an integer graph is and how it is stored."""
