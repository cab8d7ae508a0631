-- The handlers that are paused: `Pausable.pauses`.
-- keys: STATE
-- needs: base
-- Returns by handler: since_us, until_us, reason.
local found = {}
for handler, its in pairs(state.pauses or {}) do
    if is_paused(handler) then
        found[handler] = its
    end
end
return cmsgpack.pack(next(found) and found or false)
