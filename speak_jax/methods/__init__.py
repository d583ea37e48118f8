"""The methods that make talking heads, a file each; `registry` finds them."""
