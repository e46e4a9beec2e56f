# Defines the imported target Lyra::lyra, relative to this file, so the installed tree may be moved.
get_filename_component(_lyra_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

if(NOT TARGET Lyra::lyra)
    add_library(Lyra::lyra SHARED IMPORTED)
    set_target_properties(Lyra::lyra PROPERTIES
        IMPORTED_LOCATION "${_lyra_prefix}/lib/liblyra.so"
        INTERFACE_INCLUDE_DIRECTORIES "${_lyra_prefix}/include")
endif()

unset(_lyra_prefix)
