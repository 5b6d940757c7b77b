//! Harness of the cluster tests.
