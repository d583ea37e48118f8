"""The painted side of a person: skin, hair, eyes, mouth, cloth."""
