# Turn tools/layers.txt into make variables: LAYERS (bottom up) and, for each layer, CLOSURE_<layer>: itself
# and everything below it, the order in which the linker wants archives (users before what they use).
/^[ \t]*(#|$)/ { next }
{
    split($0, half, ":")
    name = half[1]
    gsub(/[ \t]/, "", name)
    order[++count] = name
    below[name, name] = 1
    listed = split(half[2], list, " ")
    for (i = 1; i <= listed; i++)
        for (j = 1; j < count; j++)
            if (below[list[i], order[j]]) below[name, order[j]] = 1
}
END {
    for (i = 1; i <= count; i++) all = all " " order[i]
    print "LAYERS :=" all
    for (i = 1; i <= count; i++) {
        line = ""
        for (j = i; j >= 1; j--) if (below[order[i], order[j]]) line = line " " order[j]
        print "CLOSURE_" order[i] " :=" line
    }
}
