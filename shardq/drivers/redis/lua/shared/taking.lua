-- What a call stores, for `append.lua` and `defer.lua`.
-- keys: none of its own
-- args: most (bytes there may be), sleeper (told of room where there is none), woken, net_us (see `lie_down_in_turn`)

-- The bodies of the call (see absent.lua) and how many messages they have. nil, and what the script returns, where it
-- stores nothing: -1, there is no room, and where the sleeper lies, after how many microseconds it looks by itself; -2, it
-- has to be called again.
local function bodies_to_store()
    check_memory()
    if args.woken then
        get_up(args.woken)
    end
    local bodies, number, nbytes = wanted_bodies(args, 1)
    if not bodies then
        commit()
        return nil, -2
    end
    if number > 0 and not fits(nbytes, args.most) then
        local told = without_room()
        commit()
        return nil, told
    end
    if args.woken then
        wake_for_room(1)
    end
    return bodies, number
end
