--- The files with tests.
return { "dialects.library_test", "dialects.schema_test", "dialects.pages_test", "dialects.events_test", "dialects.matrix_test", "dialects.memo_test", "dialects.tasks_test", "dialects.round_trip_test", "dialects.property_test", "dialects.mutation_test", "dialects.taps_test" }
