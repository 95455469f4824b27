# fuzz.json_oracle: what our JSON scanner calls valid, serde_json calls valid too (json_oracle_test.py).
find_program(MG_PYTHON python3)
if(MG_PYTHON AND NOT MG_FUZZ)
    add_executable(json_verdict ${CMAKE_CURRENT_LIST_DIR}/json_verdict.c)
    target_link_libraries(json_verdict PRIVATE mg_http mg_options)
    mg_test(fuzz.json_oracle 120 ${MG_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/json_oracle_test.py
        $<TARGET_FILE:json_verdict> ${CMAKE_CURRENT_LIST_DIR}/corpus/json_scan ${CMAKE_SOURCE_DIR}/build)
    set_tests_properties(fuzz.json_oracle PROPERTIES SKIP_RETURN_CODE 77) # there is no cargo
endif()
