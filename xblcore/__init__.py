"""Explanation-based learning with distance-aware losses; the README says where things live."""
