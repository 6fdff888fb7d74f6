-- wrk: commits that set one property of one table to the next number. wrk's first argument after "--" is the property.
function init(args)
    property, count = args[1], 0
end

function request()
    count = count + 1
    return wrk.format("POST", nil, { ["Content-Type"] = "application/json" },
        '{"requirements":[],"updates":[{"action":"set-properties","updates":{"' .. property .. '":"' .. count .. '"}}]}')
end
