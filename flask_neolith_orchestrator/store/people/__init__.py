"""Who there is: users, organizations, orchestrators, and the charters and keys they have."""
