# mg_embed(<target>): puts the files the binary carries into <target>, as one assembler file of .incbin lines that
# fills the table declared in base/embed.h. Each is followed by a NUL that its size does not count.
function(mg_embed target)
    set(groups "lua:" "plugins:plugins/" "examples/demo:demo/" "config:config/")
    set(table "")
    set(blobs "")
    set(files "")
    set(count 0)
    foreach(group IN LISTS groups)
        string(REPLACE ":" ";" group "${group}")
        list(GET group 0 folder)
        list(GET group 1 prefix)
        set(root ${CMAKE_SOURCE_DIR}/${folder})
        file(GLOB_RECURSE found CONFIGURE_DEPENDS ${root}/*)
        list(SORT found)
        foreach(file IN LISTS found)
            cmake_path(RELATIVE_PATH file BASE_DIRECTORY ${root} OUTPUT_VARIABLE name)
            if(folder STREQUAL "lua" AND (name MATCHES "^meta/" OR NOT name MATCHES "\\.lua$"))
                continue()
            elseif(folder STREQUAL "plugins" AND NOT name MATCHES "\\.(lua|json)$")
                continue()
            elseif(name MATCHES "(^|/)\\." OR name MATCHES "~$")
                continue()
            endif()
            string(APPEND table "    .quad name_${count}, data_${count}, end_${count} - data_${count}\n")
            string(APPEND blobs "name_${count}: .asciz \"${prefix}${name}\"\ndata_${count}: .incbin \"${file}\"\nend_${count}: .byte 0\n")
            list(APPEND files ${file})
            math(EXPR count "${count} + 1")
        endforeach()
    endforeach()

    set(source ${CMAKE_BINARY_DIR}/embed.S)
    file(CONFIGURE OUTPUT ${source} @ONLY CONTENT "/* made by core/embed.cmake */
    .section .data.rel.ro, \"aw\"
    .balign 8
    .globl mg_embedded_files, mg_embedded_count
mg_embedded_files:
@table@
mg_embedded_count: .quad @count@
    .section .rodata
@blobs@
    .section .note.GNU-stack, \"\"
")
    set_source_files_properties(${source} TARGET_DIRECTORY ${target} PROPERTIES OBJECT_DEPENDS "${files}")
    target_sources(${target} PRIVATE ${source})
endfunction()
