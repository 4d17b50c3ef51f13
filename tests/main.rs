//! The whole from outside: contract suites of the adapters, and what each adapter promises beyond its port.
