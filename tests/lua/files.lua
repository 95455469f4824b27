--- The files with tests.
return { "dialects.library_test", "dialects.pages_test" }
