-- How the storage stands, as far as a move is concerned: `Movable.stand`.
-- keys: STATE
-- needs: base
local standing = 'open'
if state.arriving then
    standing = 'arriving'
elseif state.leaving then
    standing = state.left and 'left' or 'leaving'
end
return cmsgpack.pack({
    standing = standing,
    leaving_by = figure('leaving_by'), to = state.leaving or '', arriving_by = figure('arriving_by'),
    come_from = state.arriving and state.come_from or '',
    arrived = figure('arrived'), used = figure('used'), token = figure('token'), evicted = figure('evicted'),
    buried = figure('buried') - figure('dead'),
})
