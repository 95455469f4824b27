--- The files with tests.
return { "dialects.library_test" }
