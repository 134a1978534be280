"""The ground floor: imported by all other packages, importing none of them."""
