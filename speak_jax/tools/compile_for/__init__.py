"""What training programs would be on machines that are not here."""
