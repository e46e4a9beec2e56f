# Gives the imported target Lyra::lyra, wherever the tree that holds this file has been put.
get_filename_component(_lyra_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

if(NOT TARGET Lyra::lyra)
    add_library(Lyra::lyra SHARED IMPORTED)
    set_target_properties(Lyra::lyra PROPERTIES
        IMPORTED_LOCATION "${_lyra_prefix}/lib/liblyra.so"
        INTERFACE_INCLUDE_DIRECTORIES "${_lyra_prefix}/include")
endif()

unset(_lyra_prefix)
