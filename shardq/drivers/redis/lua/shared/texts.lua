-- What a script needs that changes nothing.
local args = cmsgpack.unpack(ARGV[1])
local state, now = {}, 0

local function int(number)
    return string.format('%.0f', number)
end

local function sortable(number)
    return string.format('%016.0f', number)
end

local function figure(name)
    return state[name] or 0
end

local count, first_with
