"""A small DAG of cheap stages, for the tests of store, plan and flow."""
